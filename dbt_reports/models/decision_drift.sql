with halves as (
    select
        *,
        place * 2 <= max(place) over (partition by stage, decision) as earlier
    from {{ ref('decisions_by_archive') }}
)

select
    stage,
    decision,
    count(*) as archives,
    round(avg(share_of_stage), 6) as mean_share,
    round(stddev_samp(share_of_stage), 6) as deviation,
    round(avg(share_of_stage) filter (earlier), 6) as mean_of_earlier_half,
    round(avg(share_of_stage) filter (not earlier), 6) as mean_of_later_half,
    round(avg(share_of_stage) filter (not earlier) - avg(share_of_stage) filter (earlier), 6) as change,
    min(share_of_stage) as least_share,
    arg_min(archive, share_of_stage) as archive_of_least,
    max(share_of_stage) as most_share,
    arg_max(archive, share_of_stage) as archive_of_most
from halves
group by stage, decision
order by stage, mean_share desc, decision
