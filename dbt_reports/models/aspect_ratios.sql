-- Bins of a quarter of an octave: 1 is the one around squares, which begins where width and height are the same.
with grouped as (
    select
        floor(log2(width / height) * 4)::integer as step,
        count(*) as images
    from {{ source('warehouse', 'images') }}
    where decision = 'kept'
    group by all
)

select
    round(2 ** (step / 4), 3) as ratio_from,
    round(2 ** ((step + 1) / 4), 3) as ratio_to,
    images,
    {{ share('images', 'sum(images) over ()') }} as share_of_images
from grouped
order by step
