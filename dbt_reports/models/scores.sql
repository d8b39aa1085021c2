with bins as (
    select unnest(range(0, 100, 5))::integer as percentile_from
),

grouped as (
    select
        least(floor(percentile / 5) * 5, 95)::integer as percentile_from,
        count(*) as images,
        count(*) filter (decision = 'anomalous') as anomalous,
        min(log_likelihood) as least_log_likelihood,
        max(log_likelihood) as most_log_likelihood
    from {{ source('warehouse', 'anomaly_scores') }}
    group by all
)

select
    bins.percentile_from,
    bins.percentile_from + 5 as percentile_to,
    coalesce(grouped.images, 0) as images,
    {{ share('coalesce(grouped.images, 0)', 'sum(grouped.images) over ()') }} as share_of_images,
    coalesce(grouped.anomalous, 0) as anomalous,
    grouped.least_log_likelihood,
    grouped.most_log_likelihood
from bins
left join grouped using (percentile_from)
order by bins.percentile_from
