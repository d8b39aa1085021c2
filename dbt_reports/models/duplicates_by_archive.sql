with counts as (
    select
        archive,
        coalesce(sum(n) filter (decision = 'kept'), 0)::bigint as originals,
        coalesce(sum(n) filter (decision = 'duplicate'), 0)::bigint as duplicates_within,
        coalesce(sum(n) filter (decision = 'lesser_copy'), 0)::bigint as lesser_copies
    from {{ source('warehouse', 'funnel') }}
    where stage = 'records'
    group by archive
)

select
    counts.archive,
    archives.publicdate,
    counts.originals,
    counts.duplicates_within,
    {{ share('counts.duplicates_within', '(counts.originals + counts.duplicates_within)') }} as share_within,
    counts.lesser_copies,
    archives.files,
    archives.files - archives.owned as in_earlier_archives,
    {{ share('(archives.files - archives.owned)', 'archives.files') }} as share_in_earlier
from counts
left join {{ source('warehouse', 'archives') }} as archives using (archive)
order by archives.publicdate nulls last, counts.archive
