{% set tables = {'watermark_scores': "''", 'nsfw_scores': "''", 'probe_scores': 'label', 'categories': "''"} %}

with grouped as (
    {% for table, label in tables.items() %}
    select
        '{{ table }}' as judgement,
        {{ label }} as label,
        least(floor(probability * 20), 19)::integer as bin,
        count(*) as images
    from {{ source('warehouse', table) }}
    group by all
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select
    judgement,
    label,
    round(bin / 20, 2) as probability_from,
    round((bin + 1) / 20, 2) as probability_to,
    images,
    {{ share('images', 'sum(images) over (partition by judgement, label)') }} as share_of_images
from grouped
order by judgement, label, bin
