"""A W&B server on loopback, as far as sending runs needs one; it keeps what it is sent.

No server can be installed beside the tests, so this one answers W&B's own client and commands in
their protocol: GraphQL for what a run is, a stream of files for its numbers, PUT for its media.
What it has not been taught it answers with nothing, and lists in `unknown`.
"""

from __future__ import annotations

import gzip
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import yaml

ME = "me"
KEY = "k" * 40
SWEEP = "s1"


@dataclass
class Run:
    """What the server was sent of one run."""

    about: dict[str, Any] = field(default_factory=dict)
    """groupName, jobType, tags, displayName, sweep, project, entity."""
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None
    beginnings: int = 0
    """How often its numbers were sent from the first line on."""


@dataclass
class Server:
    """Runs by id, and a sweep for agents."""

    url: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    """Operations that were answered with nothing."""
    sweep: str = ""
    """The configuration of the one sweep, as YAML."""
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Dashboards: what each shows, by its title."""
    cells: list[dict[str, Any]] = field(default_factory=list)
    """Of its grid, parameters of those that no agent has been told of."""

    def __post_init__(self) -> None:
        self.known = dict(self.OPERATIONS)

    @property
    def environment(self) -> dict[str, str]:
        """What sends W&B's client here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def run(self, name: str) -> Run:
        """That of the id, new or known."""
        return self.runs.setdefault(name, Run())

    def forget(self, operation: str) -> None:
        """Answer it with nothing from here on."""
        self.known = {k: v for k, v in self.known.items() if k != operation}

    def stream(self, name: str, sent: dict[str, Any]) -> None:
        """Numbers of a run: lines at their place in its files."""
        run = self.run(name)
        run.exit_code = sent.get("exitcode", run.exit_code)
        for file, part in sent.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]] if "jsonl" in file else []
            if file == "wandb-history.jsonl":
                run.beginnings += part["offset"] == 0
                run.history[part["offset"] :] = lines
            elif file == "wandb-summary.json":
                run.summary = json.loads(part["content"][-1])

    def answer(self, query: str, values: dict[str, Any]) -> dict[str, Any]:
        """One GraphQL operation."""
        for operation, reply in self.known.items():
            if f"{operation}(" in query or f"{operation} " in query:
                return reply(self, values)
        self.unknown.append(query)
        return {}

    def _viewer(self, values: dict[str, Any]) -> dict[str, Any]:
        teams = {"edges": [{"node": {"name": ME}}]}
        viewer = {"id": ME, "entity": ME, "username": ME, "email": "", "flags": "{}"}
        return {"viewer": viewer | {"teams": teams}}

    def _run(self, values: dict[str, Any]) -> dict[str, Any]:
        run, name = self.run(values["name"]), values["name"]
        kept = ("groupName", "jobType", "tags", "displayName", "sweep", "project", "entity")
        run.about |= {key: values[key] for key in kept if values.get(key)}
        if values.get("config"):
            run.config = {k: v["value"] for k, v in json.loads(values["config"]).items()}
        entity = {"id": ME, "name": values.get("entity") or ME}
        project = {"id": "p", "name": values["project"], "entity": entity}
        bucket = {"id": name, "name": name, "displayName": values.get("displayName")}
        bucket |= {"description": "", "config": "{}", "sweepName": run.about.get("sweep")}
        bucket |= {"project": project, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _files(self, values: dict[str, Any]) -> dict[str, Any]:
        at = f"{self.url}/storage/{values['run']}"
        files = [{"name": name, "uploadUrl": f"{at}/{name}"} for name in values["files"]]
        return {"createRunFiles": {"runID": values["run"], "uploadHeaders": [], "files": files}}

    def _artifact(self, values: dict[str, Any]) -> dict[str, Any]:
        sequence = {"id": "s", "latestArtifact": {"id": "a", "versionIndex": 0}}
        known = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": known}}  # its table comes as a file as well

    def _no_artifact(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _organization(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None}}

    def _features(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _new_sweep(self, values: dict[str, Any]) -> dict[str, Any]:
        self.sweep = values["config"]
        given = yaml.safe_load(self.sweep)["parameters"]
        axes = [spec.get("values", [spec.get("value")]) for spec in given.values()]
        self.cells = [dict(zip(given, point, strict=True)) for point in itertools.product(*axes)]
        project = {"id": "p", "name": values["projectName"], "entity": {"id": ME, "name": ME}}
        sweep = {"name": SWEEP, "project": project}
        return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}

    def _known_sweep(self, values: dict[str, Any]) -> dict[str, Any]:
        known = {"id": SWEEP, "name": SWEEP, "state": "RUNNING", "config": self.sweep}
        return {"project": {"sweep": known | {"method": "grid", "runs": {"edges": []}}}}

    def _agent(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"createAgent": {"agent": {"id": "agent"}}}

    def _heartbeat(self, values: dict[str, Any]) -> dict[str, Any]:
        """One run at a time, then the end."""
        commands: list[dict[str, Any]] = []
        if not json.loads(values["runState"]):
            if self.cells:
                arguments = {key: {"value": value} for key, value in self.cells.pop(0).items()}
                told = {"type": "run", "run_id": f"cell{len(self.cells)}", "args": arguments}
                commands = [told | {"program": yaml.safe_load(self.sweep)["program"]}]
            else:
                commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}

    def _view(self, values: dict[str, Any]) -> dict[str, Any]:
        self.views[values["displayName"]] = json.loads(values["spec"])
        return {"upsertView": {"view": {"id": "v", "name": "v"}, "inserted": True}}

    OPERATIONS: ClassVar[dict[str, Callable[[Server, dict[str, Any]], dict[str, Any]]]] = {
        "query Viewer": _viewer,
        "query GetDefaultEntity": _viewer,
        "mutation UpsertBucket": _run,
        "mutation CreateRunFiles": _files,
        "mutation CreateArtifact": _artifact,
        "query ArtifactType": _no_artifact,
        "query OrganizationCoreWeaveOrganizationID": _organization,
        "query ServerFeaturesQuery": _features,
        "mutation UpsertSweep": _new_sweep,
        "query SweepWithRuns": _known_sweep,
        "mutation CreateAgent": _agent,
        "mutation Heartbeat": _heartbeat,
        "mutation UpsertView2": _view,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Server

    def log_message(self, *_: Any) -> None:
        pass

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body, parts = self._body(), self.path.split("/")
        if self.path == "/graphql":
            asked = json.loads(body)
            self._reply({"data": self.kept.answer(asked["query"], asked.get("variables") or {})})
            return
        if parts[-1] == "file_stream":  # /files/ENTITY/PROJECT/RUN/file_stream
            self.kept.stream(parts[-2], json.loads(body))
        self._reply({})

    def do_PUT(self) -> None:
        _, _, run, name = self.path.split("/", 3)
        self.kept.run(run).files[name] = self._body()
        self._reply({})


@contextmanager
def serve() -> Iterator[Server]:
    """A server of its own on a free port, until the end of the block."""
    kept = Server()
    handler = type("Handler", (_Handler,), {"kept": kept})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that leaves
        kept.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield kept
        finally:
            http.shutdown()
            thread.join()
