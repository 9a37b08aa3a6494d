"""Trains one run, or with -m a sweep. `python run.py --help` says how."""

import sys

import hydra
from omegaconf import DictConfig

from mtlsweep import cli, config, sweep
from mtlsweep.swept import with_values_swept


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(settings: DictConfig) -> float | None:
    """One run; those of a sweep are executed by the launcher."""
    from mtlsweep.single import run

    return run(settings)


def print_table() -> None:
    """The table of the sweep that has just ended."""
    if sweep.launched:
        from analysis.report import report  # loads pandas

        report(sweep.launched[0].cell.study_dir, only={task.directory.path for task in sweep.launched})


if __name__ == "__main__":
    config.register()
    sys.argv[1:] = with_values_swept(sys.argv[1:])
    sweep.launched.clear()  # where several commands are run in one process, as in the tests
    cli.guard(main, at_end=print_table)
