"""The saved-run format: tensors and JSON values in, a verified folder out, and back again.

Plain data only: safetensors and JSON, so that loading a run from a stranger executes nothing.
"""

from summarizer.checkpoint.examination import Examination, examine_checkpoints
from summarizer.checkpoint.files import (
    RunInUseError,
    RunLock,
    ScratchFolder,
    lock_holder,
    made_once,
    remove_abandoned,
    write_bytes_atomically,
    write_text_atomically,
)
from summarizer.checkpoint.format import (
    FORMAT_VERSION,
    JSON,
    Checkpoint,
    CheckpointError,
    ModelWeights,
    NewerFormatError,
    NonFiniteError,
)
from summarizer.checkpoint.loading import load_checkpoint
from summarizer.checkpoint.origin import other_settings, require_same_settings
from summarizer.checkpoint.run_folder import (
    Best,
    clean_temporary,
    list_checkpoints,
    list_leftovers,
    load_latest,
    load_model_weights,
    new_run_folder,
    prune,
    read_best,
    refuse_ways_out,
    require_run_folder,
    which_run,
    write_best,
)
from summarizer.checkpoint.saving import Snapshot, save_checkpoint, take_snapshot, write_checkpoint

__all__ = [
    "FORMAT_VERSION",
    "JSON",
    "Best",
    "Checkpoint",
    "CheckpointError",
    "Examination",
    "ModelWeights",
    "NewerFormatError",
    "NonFiniteError",
    "RunInUseError",
    "RunLock",
    "ScratchFolder",
    "Snapshot",
    "clean_temporary",
    "examine_checkpoints",
    "list_checkpoints",
    "list_leftovers",
    "load_checkpoint",
    "load_latest",
    "load_model_weights",
    "lock_holder",
    "made_once",
    "new_run_folder",
    "other_settings",
    "prune",
    "read_best",
    "refuse_ways_out",
    "remove_abandoned",
    "require_run_folder",
    "require_same_settings",
    "save_checkpoint",
    "take_snapshot",
    "which_run",
    "write_best",
    "write_bytes_atomically",
    "write_checkpoint",
    "write_text_atomically",
]
