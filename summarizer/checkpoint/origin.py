"""Whether a checkpoint is of this run, or was put into its folder from another."""

from __future__ import annotations

from collections.abc import Mapping

from summarizer.checkpoint.format import JSON, Checkpoint, CheckpointError, ModelWeights


def require_same_settings(settings: Mapping[str, JSON], saved: Checkpoint | ModelWeights) -> None:
    """Raise CheckpointError for the checkpoint of a run with other settings than ``settings``.

    Resuming and inference both ask this, so that they use the same checkpoint of a folder.
    """
    changed = other_settings(settings, saved.trainer_state)
    if changed:
        raise CheckpointError(f"{saved.path} is of another run ({'; '.join(changed)}); remove it")


def other_settings(settings: Mapping[str, JSON], trainer_state: Mapping[str, JSON]) -> list[str]:
    """In what the run of ``trainer_state`` differs. A setting that only one of two releases knows is no difference."""
    state = trainer_state.get("state")
    noted = state.get("settings") if isinstance(state, dict) else None
    if not isinstance(noted, dict):  # from before they were noted
        return []
    names = sorted(noted.keys() & settings.keys())
    return [f"{name} was {noted[name]} and is {settings[name]}" for name in names if noted[name] != settings[name]]
