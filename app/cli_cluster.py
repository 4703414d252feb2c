"""earshot cluster: the same app on several machines."""

from __future__ import annotations

from typing import Any

import click

from app.cli import Shell, command, main


@main.group()
def cluster() -> None:
    """Serve from several machines by Ray (extra `cluster`); docs/cluster.md says how."""


@cluster.command()
@click.option("--address", default="", help="Of a Ray cluster; auto on one of its machines; empty starts one here.")
@click.option("--encoders", nargs=2, type=click.IntRange(1), default=(1, 4), show_default=True, help="Least and most.")
@click.option("--encoder-cpus", type=click.FloatRange(0), default=1.0, show_default=True, help="Cores of each encoder.")
@click.option("--encoder-gpus", type=click.FloatRange(0), default=0.0, show_default=True, help="GPUs of each encoder.")
@click.option("--encoders-a-node", type=click.IntRange(0), default=0, help="Encoders on one machine at most; 0: any.")
@click.option("--pages", type=click.IntRange(1), default=1, show_default=True, help="Replicas of the pages.")
@click.option("--trainer-cpus", type=click.FloatRange(0), default=1.0, show_default=True, help="Cores of each retrain.")
@click.option("--trainer-gpus", type=click.FloatRange(0), default=0.0, show_default=True, help="GPUs of each retrain.")
@click.option("--trainer-resource", "resource", help="A resource of Ray that retrains are placed by, such as train.")
@command
def serve(shell: Shell, encoders: tuple[int, int], resource: str | None, **given: Any) -> None:
    """Serve pages, encoders and retrains on a Ray cluster. Ctrl-C stops what was started here."""
    from app.cluster.starting import Shape, serve_cluster

    shell.db.close()
    shape = Shape(
        address=given["address"], least_encoders=encoders[0], most_encoders=max(encoders), pages=given["pages"],
        encoder_cpus=given["encoder_cpus"], encoder_gpus=given["encoder_gpus"], a_node=given["encoders_a_node"],
        trainer_cpus=given["trainer_cpus"], trainer_gpus=given["trainer_gpus"],
        trainer_resources={resource: 0.001} if resource else {},
    )  # fmt: skip
    serve_cluster(shell.settings, shape)
