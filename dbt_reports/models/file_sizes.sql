with grouped as (
    select
        case when size > 0 then floor(log2(size)) else -1 end::integer as step,
        case
            when video_blake2b is not null then 'still' when media_type like 'image/%' then 'picture' else 'video'
        end as kind,
        count(*) as files,
        sum(size)::bigint as bytes
    from {{ source('warehouse', 'files') }}
    group by all
)

select
    kind,
    case when step < 0 then 0 else (2 ** step)::bigint end as bytes_from,
    (2 ** (step + 1))::bigint as bytes_to,
    files,
    {{ share('files', 'sum(files) over ()') }} as share_of_files,
    bytes,
    {{ share('bytes', 'sum(bytes) over ()') }} as share_of_bytes
from grouped
order by kind, step
