{# A part of a whole as a number from 0 to 1; null where there is no whole. #}
{% macro share(part, whole) %}
    round({{ part }} / nullif({{ whole }}, 0)::double, 6)
{% endmacro %}
