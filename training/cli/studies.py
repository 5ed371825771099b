"""Commands for many runs: compare, tune, seeds, plan, step-cost."""

from __future__ import annotations

import argparse
from pathlib import Path

from training.architectures import ARCHITECTURES
from training.cli.options import (
    CONFIGS,
    SEEDS_FILE,
    Commands,
    add_data,
    add_precision,
    add_votes,
    add_workers,
    at_least,
    load_dataset,
    optional_votes,
    positive,
    votes_for,
)

_FAIR = CONFIGS / "fair.toml"


def add_commands(commands: Commands) -> None:
    """Add the commands of this module to the parser."""
    _add_compare(commands)
    tune = commands.add_parser("tune", help="search for better options; repeat the command to continue the search")
    tune.add_argument("study", type=Path, help="TOML file, for example of training/configs/studies")
    tune.add_argument("--to", type=Path, help="output folder (default: runs/tune/<name>)")
    add_data(tune)
    add_votes(tune)
    tune.set_defaults(run_command=_tune)

    seeds = commands.add_parser("seeds", help="mean and deviation of finished runs that differ only in their seed")
    seeds.add_argument("runs", nargs="+", type=Path, help="run folders")
    seeds.add_argument("--to", type=Path, default=SEEDS_FILE, help="output file (default: %(default)s)")
    add_precision(seeds, "int8")
    add_data(seeds)
    add_votes(seeds)
    seeds.set_defaults(run_command=_seeds)

    plan = commands.add_parser("plan", help="train stages of runs within a number of minutes, for a GPU")
    plan.add_argument("plan", type=Path, help="TOML file, for example training/configs/gpu/plan.toml")
    plan.add_argument("--minutes", type=positive, help="replaces the time of the plan")
    plan.add_argument("--runs", type=Path, default=Path("runs"), help="parent of run folders (default: %(default)s)")
    plan.add_argument("--to", type=Path, default=Path("runs/plan"), help="folder of archives (default: %(default)s)")
    add_workers(plan)
    add_data(plan)
    add_votes(plan)
    plan.set_defaults(run_command=_plan)
    _add_step_cost(commands)


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser("compare", help="train and measure many configs for one leaderboard")
    compare.add_argument("configs", nargs="*", type=Path, help="TOML files (default: all of training/configs)")
    compare.add_argument(
        "--fair",
        action="append",
        default=[],
        choices=[*ARCHITECTURES, "all"],
        metavar="KEY",
        help="add KEY, or `all`, with the shared recipe fair.toml",
    )
    compare.add_argument("--runs", type=Path, default=Path("runs"), help="parent of run folders (default: %(default)s)")
    compare.add_argument("--to", type=Path, default=Path("training/results"), help="output (default: %(default)s)")
    compare.add_argument(
        "--ensemble", action="append", default=[], type=Path, help="also measure this ensemble of finished runs (TOML)"
    )
    compare.add_argument(
        "--jobs", type=at_least(1), default=1, help="configs trained in parallel (default: %(default)s)"
    )
    compare.add_argument(
        "--smoke", action="store_true", help="only run every architecture through all stages on generated images"
    )
    add_data(compare)
    add_votes(compare)
    compare.set_defaults(run_command=_compare)


def _add_step_cost(commands: Commands) -> None:
    cost = commands.add_parser("step-cost", help="time of a step with teachers or two passes, relative to a plain step")
    cost.add_argument("config", type=Path, help="TOML file")
    cost.add_argument(
        "--teacher", action="append", required=True, type=Path, help="run folder or ONNX file; repeat for several"
    )
    cost.add_argument(
        "--rounds",
        type=at_least(2),
        default=11,
        help="steps of each kind; the first is not counted (default: %(default)s)",
    )
    cost.set_defaults(run_command=_step_cost)


def _compare(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.studies.compare import compare
    from training.studies.ensemble import load_ensemble
    from training.studies.smoke import smoke

    if arguments.smoke:
        smoke()
        return
    paths = arguments.configs
    if not (paths or arguments.fair or arguments.ensemble):
        paths = [path for path in sorted(CONFIGS.glob("*.toml")) if path != _FAIR]
    configs = [load_config(path) for path in paths]
    fair = load_config(_FAIR)
    keys = ARCHITECTURES if "all" in arguments.fair else arguments.fair
    configs += [fair.with_architecture(key) for key in keys]
    ensembles = [load_ensemble(path) for path in arguments.ensemble]
    votes = votes_for(configs, arguments)
    dataset = load_dataset(arguments)
    compare(configs, dataset, arguments.runs, arguments.to, votes, ensembles, arguments.jobs)


def _tune(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.studies.study import load_study
    from training.studies.tune import tune

    study = load_study(arguments.study)
    votes = votes_for([load_config(study.base)], arguments)
    folder = arguments.to or Path("runs") / "tune" / study.name
    best = tune(study, load_dataset(arguments), folder, votes)["best"]
    print(f"Best of {study.trials} trials: PublicTest {best['val_accuracy']:.2%} with {best['parameters']}")


def _seeds(arguments: argparse.Namespace) -> None:
    from training.export.card_tables import seeds_table
    from training.fit.run_folder import RunFolder
    from training.studies.seeds import measure_seeds

    runs = [RunFolder(path) for path in arguments.runs]
    dataset, votes = load_dataset(arguments), optional_votes(arguments.votes, arguments.data)
    print(seeds_table(measure_seeds(runs, dataset, arguments.to, votes, arguments.precision)))


def _plan(arguments: argparse.Namespace) -> None:
    from training.studies.plan import load_plan, run_plan

    configs = [config for stage in load_plan(arguments.plan).recipes(arguments.plan.parent) for config in stage]
    dataset, votes = load_dataset(arguments), votes_for(configs, arguments)
    run_plan(
        arguments.plan,
        dataset,
        votes,
        arguments.runs,
        arguments.to,
        minutes=arguments.minutes,
        workers=arguments.workers,
    )


def _step_cost(arguments: argparse.Namespace) -> None:
    from training.config import load_config
    from training.studies.step_cost import step_costs

    seconds = step_costs(load_config(arguments.config), arguments.teacher, arguments.rounds)
    whole = seconds["augmentation"] + seconds["plain"]
    print(f"{'plain step':>16}: {1000 * whole:.0f} ms, of which augmentation {1000 * seconds['augmentation']:.0f} ms")
    print(f"{'with teachers':>16}: {(whole + seconds['teachers']) / whole:.2f} times the plain step")
    two_passes = seconds["augmentation"] + seconds["sharpness-aware"]
    print(f"{'sharpness-aware':>16}: {two_passes / whole:.2f} times the plain step")
