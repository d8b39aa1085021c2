select
    captured_at::date as day,
    count(*) as originals,
    count(distinct archive) as archives,
    {{ share('count(*)', 'sum(count(*)) over ()') }} as share_of_originals
from {{ source('warehouse', 'files') }}
where video_blake2b is null
group by all
order by day nulls last
