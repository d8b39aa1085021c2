"""A cache with a limit: what was read goes when the next archive is fetched, and comes back when it is wanted again."""

from imgmine.demo.archives import make_archives
from imgmine.demo.exchanges import Kind
from tests.graph.mined import published, workplace


def test_an_archive_that_was_read_makes_room_for_the_next(tmp_path):
    archives = make_archives(tmp_path / "archive.org", kinds=[Kind.MAY_3, Kind.MAY_15], records=20)
    first, second = (archive.identifier for archive in archives)
    with workplace(tmp_path / "home", tmp_path / "archive.org", cache_bytes=1) as work:
        cache = work.settings.cache
        [outcome] = work.mine([first])
        assert outcome.succeeded, outcome
        assert (cache / first).is_dir(), "nothing else was fetched yet"
        [outcome] = work.mine([second])
        assert outcome.succeeded, outcome
        assert not (cache / first).exists()
        as_it_was = published(work.store)
        [outcome] = work.mine([first])
        assert outcome.succeeded, outcome
        assert (cache / first).is_dir()
        assert not (cache / second).exists()
        assert published(work.store) == as_it_was
