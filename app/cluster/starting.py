"""Put Earshot on a Ray cluster: encoders, pages, and the one who hands out retrains."""

from __future__ import annotations

import functools
import logging
import math
import os
import secrets
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import BadInput, EarshotError
from app.settings import Settings, prepare_for_ray

log = logging.getLogger("earshot.cluster")

NAME = "earshot"
ENCODERS, PAGES, DISPATCHER = "Encoder", "Pages", "dispatcher"
_ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
_PAGE_CPUS = 0.5
_DRAIN_SECONDS = 60.0  # Serve itself gives a replica that ends twenty
_REQUESTS = 64  # a replica's at once: one batch


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the cluster's parts are. address: of a Ray cluster that runs ("auto": on this machine), or empty."""

    address: str = ""
    least_encoders: int = 1
    most_encoders: int = 4
    pages: int = 1
    encoder_cpus: float = 1
    encoder_gpus: float = 0
    trainer_cpus: float = 1
    trainer_gpus: float = 0
    trainer_resources: dict[str, float] = field(default_factory=dict)
    a_node: int = 0  # encoders on one machine at most; 0 is any number
    under_way: float = _REQUESTS / 4  # requests of one encoder from which another one starts
    up_seconds: float = 10  # for which there must be more before one starts
    down_seconds: float = 300  # and fewer before one ends

    @property
    def needed(self) -> int:
        """Cores that all parts reserve when every encoder runs and one retrain does."""
        return math.ceil(self.most_encoders * self.encoder_cpus + self.pages * _PAGE_CPUS + self.trainer_cpus)


def connect(settings: Settings, shape: Shape) -> Any:
    """Ray, connected: to the cluster that is named, or to one of its own on this machine. Raises BadInput.

    Ray talks to nobody without the token (RAY_AUTH_MODE=token), and to nobody outside (no usage statistics).
    """
    token = settings.data / "ray-token"
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch(0o600)
        token.write_text(secrets.token_hex(32), encoding="utf-8")
    prepare_for_ray(token, loopback=not shape.address)
    try:
        import ray
    except ImportError:
        raise BadInput("This needs Ray: pip install 'earshot[cluster]'.") from None
    if not ray.is_initialized():
        # Here cores are what Ray counts, not what it has: a retrain must find room beside the pages on two of them.
        own = {"include_dashboard": False, "num_cpus": max(os.cpu_count() or 1, shape.needed)}
        where: dict[str, Any] = {"address": shape.address} if shape.address else own
        ray.init(namespace=NAME, log_to_driver=False, configure_logging=False, **where)
    return ray


def encoders_of(fingerprint: str) -> tuple[str, str]:
    """Deployment and application of the encoders of a base: each base has its own, so that two never meet."""
    return ENCODERS, f"encoders-{fingerprint[:12]}"


@functools.cache
def _fingerprint(base_toml: Path, override: str, music: Path | None) -> str:
    from app.lm.base import load
    from app.lm.locate import locate

    return load(locate(base_toml, override), music_folder=music).fingerprint


def fingerprint_of(settings: Settings) -> str:
    """Of the base and music adapter that are set, as they are on this machine. Raises a BaseProblem."""
    return _fingerprint(settings.models / "base.toml", settings.base_model, settings.music)


def _run(what: Any, name: str, prefix: str | None) -> None:
    from ray import serve

    try:
        serve.run(what, name=name, route_prefix=prefix, blocking=False)
    except RuntimeError as problem:  # what was there before goes on
        raise EarshotError(f"Ray Serve could not start {name}. {problem}") from problem


def deploy(settings: Settings, shape: Shape) -> None:
    """Start or replace encoders and pages; somebody always answers.

    Another base gets encoders of its own beside the old ones, which answer the old pages until there are none. Raises a
    BaseProblem, or an EarshotError if Serve cannot start them.
    """
    from ray import serve

    from app.cluster.encoder import Encoder
    from app.cluster.pages import Pages

    fingerprint = fingerprint_of(settings)
    place = encoders_of(fingerprint)
    quiet = {"enable_access_log": False}  # addresses hold invites' tokens
    # Other machines do not have that address; whoever listens there would try for ever.
    serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": settings.port})
    encoders = serve.deployment(
        Encoder,
        name=ENCODERS,
        ray_actor_options={"num_cpus": shape.encoder_cpus, "num_gpus": shape.encoder_gpus},
        max_ongoing_requests=_REQUESTS,
        max_replicas_per_node=shape.a_node or None,
        autoscaling_config={
            "min_replicas": shape.least_encoders, "max_replicas": shape.most_encoders,
            "target_ongoing_requests": shape.under_way,
            "upscale_delay_s": shape.up_seconds, "downscale_delay_s": shape.down_seconds,
        },
        request_router_config=serve.config.RequestRouterConfig(request_router_class=_ROUTER),
        health_check_period_s=5,
        health_check_timeout_s=30,
        logging_config=quiet,
        max_constructor_retry_count=3,
    ).bind(settings, fingerprint, max(1, int(shape.encoder_cpus)))  # fmt: skip
    _run(encoders, place[1], None)
    pages = serve.deployment(
        serve.ingress()(Pages),
        name=PAGES,
        num_replicas=shape.pages,
        max_surge_percent=100,  # else Serve ends the only replica first, and nobody answers until the next one does
        ray_actor_options={"num_cpus": _PAGE_CPUS},
        max_ongoing_requests=settings.max_requests,
        health_check_period_s=5,
        health_check_timeout_s=30,
        logging_config=quiet,
    ).bind(settings, fingerprint, place)
    _run(pages, NAME, "/")
    _end_encoders_but(place[1])


def _end_encoders_but(kept: str) -> None:
    """End the encoders of other bases, once the pages that ask them have ended."""
    from ray import serve

    end = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < end:
        states = serve.status().applications[NAME].deployments[PAGES].replica_states
        if set(states) <= {"RUNNING"}:
            break
        time.sleep(0.2)
    for name in [name for name in serve.status().applications if name.startswith("encoders-") and name != kept]:
        serve.delete(name)


def _end_dispatcher() -> None:
    """One that an earlier start left has other settings. Retrains that it handed out begin again by their leases."""
    import ray

    while True:
        try:
            ray.kill(ray.get_actor(DISPATCHER))
        except ValueError:
            return  # there is none any more
        time.sleep(0.2)


def dispatch(settings: Settings, shape: Shape) -> Any:
    """The actor that hands out retrains: one in the cluster, started anew elsewhere if its machine is lost."""
    import ray

    from app.cluster.retrains import Dispatcher

    _end_dispatcher()
    actor = ray.remote(Dispatcher).options(
        name=DISPATCHER, max_restarts=-1, max_task_retries=-1, max_concurrency=4, num_cpus=0
    )
    one = actor.remote(
        settings.model_dump_json(), fingerprint_of(settings), shape.trainer_cpus, shape.trainer_gpus,
        dict(shape.trainer_resources),
    )  # fmt: skip
    one.run.remote()  # again after each restart: its retries have no end
    return one


def serve_cluster(settings: Settings, shape: Shape) -> None:
    """Serve until SIGINT or SIGTERM. On a cluster that runs by itself, pages and encoders stay when this ends."""
    ray = connect(settings, shape)
    if not settings.database_url:
        log.warning("one-machine: SQLite and EARSHOT_HOME are reached from this machine only; see docs/cluster.md")
    deploy(settings, shape)
    dispatcher = dispatch(settings, shape)
    log.info("serving %s:%s by Ray", settings.host, settings.port)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    ray.get(dispatcher.stop.remote())
    if not shape.address:
        from ray import serve

        serve.shutdown()
    ray.shutdown()
