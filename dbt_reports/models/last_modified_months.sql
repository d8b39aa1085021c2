select
    date_trunc('month', last_modified)::date as month_from,
    count(*) as originals,
    {{ share('count(*)', 'sum(count(*)) over ()') }} as share_of_originals
from {{ source('warehouse', 'files') }}
where video_blake2b is null
group by all
order by month_from nulls last
