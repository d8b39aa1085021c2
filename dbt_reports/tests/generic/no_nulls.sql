{# One query for all columns of a model that are never null: a test for each would take as long as the reports do. #}
{% test no_nulls(model, columns) %}
    select *
    from {{ model }}
    where {% for column in columns %}{{ column }} is null{% if not loop.last %} or {% endif %}{% endfor %}
{% endtest %}
