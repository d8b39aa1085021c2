with counts as (
    select
        archive,
        coalesce(sum(n) filter (stage = 'records'), 0)::bigint as records,
        coalesce(sum(n) filter (stage = 'records' and decision = 'kept'), 0)::bigint as originals,
        coalesce(sum(n) filter (stage = 'images'), 0)::bigint as images,
        coalesce(sum(n) filter (stage = 'images' and decision = 'kept'), 0)::bigint as images_kept,
        coalesce(sum(n) filter (stage = 'scores'), 0)::bigint as scored,
        coalesce(sum(n) filter (stage = 'scores' and decision = 'kept'), 0)::bigint as usual
    from {{ source('warehouse', 'funnel') }}
    group by archive
),

stored as (
    select
        archive,
        sum(size)::bigint as stored_bytes
    from {{ source('warehouse', 'files') }}
    group by archive
)

select
    counts.archive,
    archives.publicdate,
    archives.warc_bytes,
    coalesce(stored.stored_bytes, 0) as stored_bytes,
    counts.records,
    counts.originals,
    counts.images,
    counts.images_kept,
    {{ share('counts.images_kept', 'counts.images') }} as share_kept,
    counts.scored,
    counts.usual,
    {{ share('counts.usual', 'counts.scored') }} as share_usual,
    archives.owned,
    {{ share('archives.owned', 'archives.files') }} as share_owned
from counts
left join stored using (archive)
left join {{ source('warehouse', 'archives') }} as archives using (archive)
order by archives.publicdate nulls last, counts.archive
