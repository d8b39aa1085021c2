"""How a run is executed: in one process, known to be alive while it lives, and asleep while it waits for a pool.

Dagster's multiprocess executor costs five times as much a run. What becomes of runs that died is in `dead_runs`.
"""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.executor import in_process

from imgmine_assets.dead_runs import end_dead_runs, marked_as_running

# A place in a pool is free for this long at most before a run takes it.
_LONGEST_WAIT_S = 3.0


class _SleepingClaims(InstanceConcurrencyContext):
    """Claims places in pools as Dagster's class does, whose time to wait is never above zero.

    With that a run that waits asks in a loop and keeps a core busy, which the runs that work need.
    """

    def claim(self, concurrency_key: str, step_key: str, step_priority: int = 0) -> bool:
        claimed = super().claim(concurrency_key, step_key, step_priority)
        if not claimed:
            self._pending_timeouts[step_key] = min(self._pending_timeouts[step_key], time.time() + _LONGEST_WAIT_S)
        return claimed

    def interval_to_next_pending_claim_check(self) -> float:
        now = time.time()
        return max(0.0, min((ready_at - now for ready_at in self._pending_timeouts.values()), default=0.0))


# The executor offers no other place for it.
in_process.InstanceConcurrencyContext = _SleepingClaims  # type: ignore[attr-defined]


class _Watched(dg.Executor):
    def __init__(self, executor: dg.Executor) -> None:
        self._executor = executor

    @property
    def retries(self) -> Any:
        return self._executor.retries

    @property
    def step_dependency_config(self) -> Any:
        return self._executor.step_dependency_config

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        end_dead_runs(plan_context.instance)
        with marked_as_running(plan_context.instance, plan_context.run_id):
            yield from self._executor.execute(plan_context, execution_plan)


@dg.executor(name="in_process", config_schema=dg.in_process_executor.config_schema)  # type: ignore[call-overload, untyped-decorator]
def one_process(context: dg.InitExecutorContext) -> dg.Executor:
    """Execute a run in its own process, as Dagster's executor of this name does, and end the dead ones before it."""
    create = dg.in_process_executor.executor_creation_fn
    assert create is not None
    return _Watched(create(context))
