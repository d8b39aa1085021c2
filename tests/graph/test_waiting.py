"""A run that waits for a place in a pool leaves the processor to the others, and goes on soon after there is one."""

import threading
import time

import dagster as dg

from imgmine_assets.code_location import execute_here
from imgmine_assets.executor import one_process

_ONE_AT_A_TIME = {"concurrency": {"pools": {"default_limit": 1, "granularity": "op"}}}
_WAITS_S = 3.0
_STARTS_WITHIN_S = 2.0


@dg.op(pool="downloads")
def download() -> None:
    pass


@dg.job(executor_def=one_process)
def mining() -> None:
    download()


def test_a_run_sleeps_while_it_waits_for_a_pool(tmp_path):
    used, freed = [], []
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=_ONE_AT_A_TIME) as instance:
        pools = instance.event_log_storage
        pools.initialize_concurrency_limit_to_default("downloads")
        assert pools.claim_concurrency_slot("downloads", "another run", "download").is_claimed

        def wait_then_free() -> None:
            time.sleep(_STARTS_WITHIN_S)
            began = time.process_time()
            time.sleep(_WAITS_S)
            used.append(time.process_time() - began)
            pools.free_concurrency_slots_for_run("another run")
            freed.append(time.monotonic())

        other = threading.Thread(target=wait_then_free)
        other.start()
        assert execute_here(mining, instance, instance.create_run_for_job(mining))
        ended = time.monotonic()
        other.join()
    assert ended > freed[0], "it waited"
    assert used[0] < _WAITS_S / 4
