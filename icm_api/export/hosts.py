"""What each consumer documents beside the shape of a row: how few rows it takes, how large a file, what comes next.

As documented in November 2026. OpenAI: https://developers.openai.com/api/docs/guides/supervised-fine-tuning and
/direct-preference-optimization (10 examples at least, files up to 512 MB). Azure:
https://learn.microsoft.com/azure/ai-services/openai/how-to/fine-tuning (the same shape, UTF-8 with a byte-order mark,
less than 512 MB). Together: https://docs.together.ai/docs/fine-tuning/data-preparation (`messages` and nothing beside
it, up to 100 GB). Fireworks: https://docs.fireworks.ai/fine-tuning/fine-tuning-models (3 to 3 million examples, a
system message only in first place). TRL: https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote

_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Host:
    """Who reads the files.

    Attributes:
        name: for people.
        next_steps: command lines, or Python; `{train}` stands for the training file, `{folder}` for the folder.
        fewest: rows that a training file needs; 1 where nothing is said.
        most_rows, most_bytes: of one file; None where nothing is said.
    """

    name: str
    next_steps: tuple[str, ...]
    fewest: int = 1
    most_rows: int | None = None
    most_bytes: int | None = None

    def steps(self, folder: str, train: str) -> tuple[str, ...]:
        """What to do next with the files, ready for a shell or for Python."""
        names = {"{train!r}": repr(train), "{train}": quote(train), "{folder}": quote(folder)}
        steps = list(self.next_steps)
        for mark, name in names.items():
            steps = [step.replace(mark, name) for step in steps]
        return tuple(steps)

    def complaints(self, name: str, rows: int, size: int) -> Sequence[str]:
        """What the host would refuse a file for; `size` in bytes."""
        found = []
        if rows < self.fewest:
            found.append(f"{self.name} takes no file of fewer than {self.fewest} rows, and {name} has {rows}")
        if self.most_rows is not None and rows > self.most_rows:
            found.append(f"{self.name} takes at most {self.most_rows:,} rows, and {name} has {rows:,}")
        if self.most_bytes is not None and size > self.most_bytes:
            found.append(f"{self.name} takes at most {self.most_bytes:,} bytes, and {name} has {size:,}")
        return found


OPENAI = Host(
    "OpenAI",
    (
        'curl https://api.openai.com/v1/files -H "Authorization: Bearer $OPENAI_API_KEY" -F purpose=fine-tune '
        "-F file=@{train}",
    ),
    fewest=10,
    most_bytes=512 * _MEGABYTE,
)
AZURE = Host(
    "Azure OpenAI",
    (
        'curl "$AZURE_OPENAI_ENDPOINT/openai/files?api-version=2024-10-21" -H "api-key: $AZURE_OPENAI_API_KEY" '
        "-F purpose=fine-tune -F file=@{train}",
    ),
    fewest=10,
    most_bytes=512 * _MEGABYTE,
)
TOGETHER = Host("Together", ("tg files upload {train}",), most_bytes=100_000 * _MEGABYTE)
FIREWORKS = Host(
    "Fireworks",
    (
        "firectl dataset create NAME {train}",
        "firectl supervised-fine-tuning-job create --base-model MODEL --dataset NAME --output-model TUNED",
    ),
    fewest=3,
    most_rows=3_000_000,
)
TRL_SFT, TRL_DPO, TRL_REWARD = (
    Host("TRL", (f"trl {verb} --model_name_or_path MODEL --dataset_name {{folder}} --output_dir TUNED",))
    for verb in ("sft", "dpo", "reward")
)
HUB = Host("the Hugging Face Hub", ("hf upload OWNER/NAME {folder} . --repo-type dataset",))
PANDAS_CSV = Host("pandas", ("in Python: pandas.read_csv({train!r}, dtype=str, keep_default_na=False)",))
PANDAS_PARQUET = Host("pandas", ("in Python: pandas.read_parquet({train!r})",))
CLEANLAB = Host(
    "cleanlab",
    (
        "in Python: d = numpy.load({train!r}); cleanlab.filter.find_label_issues(d['labels'], d['pred_probs'], "
        "return_indices_ranked_by='self_confidence')",
    ),
)
