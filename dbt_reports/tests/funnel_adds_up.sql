-- Each stage starts from what the one before passed on. A stage that has no rows of an archive has not run there, and
-- is left out, unless nothing was passed on to it.
with counts as (
    select
        archive,
        coalesce(sum(n) filter (stage = 'records' and decision = 'kept'), 0) as records_kept,
        coalesce(sum(n) filter (stage = 'files' and decision in ('picture', 'video')), 0) as originals,
        coalesce(sum(n) filter (stage = 'files' and decision in ('picture', 'still')), 0) as to_gate,
        sum(n) filter (stage = 'images') as images,
        coalesce(sum(n) filter (stage = 'images' and decision = 'kept'), 0) as images_kept,
        sum(n) filter (stage = 'scores') as scores
    from {{ source('warehouse', 'funnel') }}
    group by archive
)

select *
from counts
where
    records_kept != originals
    or images != to_gate
    or scores != images_kept
