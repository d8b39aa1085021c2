{% set tables = {
    'watermark_scores': "''", 'nsfw_scores': "''", 'probe_scores': 'label', 'categories': 'category'
} %}

with counts as (
    {% for table, label in tables.items() %}
    select
        '{{ table }}' as judgement,
        {{ label }} as label,
        decision,
        count(*) as n,
        count(distinct archive) as archives,
        avg(probability) as mean_probability
    from {{ source('warehouse', table) }}
    group by all
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select
    judgement,
    label,
    decision,
    n,
    {{ share('n', 'sum(n) over (partition by judgement, case when judgement = \'probe_scores\' then label end)') }} as share_of_judged,
    archives,
    round(mean_probability, 6) as mean_probability
from counts
order by judgement, label, n desc, decision
