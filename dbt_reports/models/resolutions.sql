with sides as (
    select
        least(width, height) as short_side,
        case when width > height then 'landscape' when width < height then 'portrait' else 'square' end as orientation,
        width::bigint * height as pixels
    from {{ source('warehouse', 'images') }}
    where decision = 'kept'
),

-- The gate keeps nothing under 128 pixels; everything from 4096 on is one group.
grouped as (
    select
        least(2 ** floor(log2(short_side)), 4096)::integer as short_side_from,
        orientation,
        count(*) as images,
        median(pixels) / 1e6 as median_megapixels
    from sides
    group by all
)

select
    short_side_from,
    case when short_side_from < 4096 then short_side_from * 2 - 1 end as short_side_to,
    orientation,
    images,
    {{ share('images', 'sum(images) over ()') }} as share_of_images,
    round(median_megapixels, 3) as median_megapixels
from grouped
order by short_side_from, orientation
