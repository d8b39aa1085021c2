"""What a person does in the Dagster UI, done by the GraphQL requests that the UI itself makes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import requests

_REPOSITORY = {"repositoryLocationName": "imgmine", "repositoryName": "__repository__"}
_PARTITION = "dagster/partition"
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


@dataclass(frozen=True)
class UiClient:
    """A running UI at `url`."""

    url: str

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the one field that was asked for; what went wrong, in any of Dagster's ways, is raised."""
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert not answer.get("errors"), answer["errors"]
        [field] = answer["data"].values()
        assert "message" not in field, field["message"]
        return dict(field)

    def add_partition(self, archive: str) -> None:
        self.ask(
            """mutation($repository: RepositorySelector!, $key: String!) {
              addDynamicPartition(repositorySelector: $repository, partitionsDefName: "archives", partitionKey: $key)
              { ... on Error { message } }
            }""",
            repository=_REPOSITORY,
            key=archive,
        )

    def backfill(self, assets: Sequence[str], archives: Sequence[str]) -> str:
        """Launch a backfill of assets over archives, and return its id."""
        launched = self.ask(
            """mutation($wanted: LaunchBackfillParams!) {
              launchPartitionBackfill(backfillParams: $wanted)
              { ... on LaunchBackfillSuccess { backfillId } ... on Error { message } }
            }""",
            wanted={"assetSelection": [{"path": [asset]} for asset in assets], "partitionNames": list(archives)},
        )
        return str(launched["backfillId"])

    def wait_for_runs_of_backfill(self, backfill: str, count: int, within: float) -> dict[str, str]:
        """Wait until a backfill has so many runs and all have ended; return the run of each archive."""
        query = """query($id: String!) {
          partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { runs(limit: 100) { runId status tags { key value } } }
            ... on Error { message }
          }
        }"""

        def all_ended(seen: dict[str, Any]) -> bool:
            return len(seen["runs"]) == count and all(run["status"] in _ENDED for run in seen["runs"])

        ended = self._wait(lambda: self.ask(query, id=backfill), all_ended, within)
        return {tag["value"]: run["runId"] for run in ended["runs"] for tag in run["tags"] if tag["key"] == _PARTITION}

    def wait_for_backfill(self, backfill: str, within: float) -> str:
        """Return the status that a backfill ended with."""
        query = """query($id: String!) {
          partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status } ... on Error { message }
          }
        }"""
        ended = self._wait(
            lambda: self.ask(query, id=backfill), lambda it: it["status"].startswith("COMPLETED"), within
        )
        return str(ended["status"])

    def materialize(self, asset: str, archive: str) -> str:
        """Launch a run of one asset for one archive, and return its id."""
        launched = self.ask(
            """mutation($wanted: ExecutionParams!) {
              launchRun(executionParams: $wanted) { ... on LaunchRunSuccess { run { runId } } ... on Error { message } }
            }""",
            wanted={
                "selector": {**_REPOSITORY, "jobName": "__ASSET_JOB", "assetSelection": [{"path": [asset]}]},
                "mode": "default",
                "executionMetadata": {"tags": [{"key": _PARTITION, "value": archive}]},
            },
        )
        return str(launched["run"]["runId"])

    def run_again(self, run: str) -> str:
        """Launch a run once more, from its page, and return the id of the new one."""
        launched = self.ask(
            """mutation($wanted: ReexecutionParams!) {
              launchRunReexecution(reexecutionParams: $wanted)
              { ... on LaunchRunSuccess { run { runId } } ... on Error { message } }
            }""",
            wanted={"parentRunId": run, "strategy": "ALL_STEPS"},
        )
        return str(launched["run"]["runId"])

    def wait_for_run(self, run: str, within: float) -> str:
        """Return the status that a run ended with."""
        query = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } ... on Error { message } } }"
        return str(self._wait(lambda: self.ask(query, id=run), lambda it: it["status"] in _ENDED, within)["status"])

    def runs_of_job(self, job: str) -> list[str]:
        """Return the ids of the runs that the job's page lists."""
        found = self.ask(
            """query($job: PipelineSelector!) {
              pipelineOrError(params: $job) { ... on Pipeline { runs(limit: 100) { runId } } ... on Error { message } }
            }""",
            job={**_REPOSITORY, "pipelineName": job},
        )
        return [run["runId"] for run in found["runs"]]

    def _wait(
        self, look: Callable[[], dict[str, Any]], done: Callable[[dict[str, Any]], bool], within: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + within
        while not done(seen := look()):
            assert time.monotonic() < deadline, f"after {within} s still {seen}"
            time.sleep(0.5)
        return seen
