"""The verbs of the command line: what each is called, does and takes. To list them imports nothing that they run.

The flags of each are declared in `flags`. Only the verb that was asked for gets its flags, and only when it runs is its
module imported.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from icm_api.cli.flags import finished, outside, running, training
from icm_api.cli.flags.common import configuration


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb.

    Attributes:
        work: "module:function" of the function that gets the parsed arguments.
        summary: what the verb does, in one line that begins in lower case and has no full stop.
        declare: declares the flags on the verb's parser.
        example: shown below the flags.
    """

    work: str
    summary: str
    declare: Callable[[ArgumentParser], None]
    example: str | None = None

    @property
    def description(self) -> str:
        """The summary as a sentence."""
        return self.summary[0].upper() + self.summary[1:] + "."


VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "demo": Verb(
            "icm_api.cli.demo:demo_verb",
            "label a made-up data set with the embedded model: no key, nothing to prepare",
            outside.demo,
        ),
        "init": Verb(
            "icm_api.cli.starting:init_verb",
            "write a configuration for a task or a file of your own, with comments, to be changed by hand",
            running.init,
            "  icm-api init reviews.csv --text review --labels good,bad --id nr --model openai:gpt-6-luna\n"
            "  icm-api run reviews.toml\n\n"
            "  icm-api init truthfulqa --data TruthfulQA.csv --model "
            "vllm:meta-llama/Llama-3.1-8B@http://127.0.0.1:8000/v1\n"
            "  icm-api plan truthfulqa.toml\n"
            "  icm-api run truthfulqa.toml\n",
        ),
        "run": Verb("icm_api.cli.running:run_verb", "label a data set as a configuration says", running.run),
        "resume": Verb("icm_api.cli.running:resume_verb", "go on with a run that stopped", running.resume),
        "label": Verb(
            "icm_api.cli.labelling:label_verb",
            "label another file from a finished run, one request an example; repeat it to go on where it stopped",
            running.label,
            "  icm-api label runs/claims more.jsonl      # runs/claims/more/more/0000.jsonl and so on\n",
        ),
        "plan": Verb(
            "icm_api.cli.planning:plan_verb",
            "say what a run is likely to take, and what at most: requests, tokens, money, minutes; sends nothing",
            running.plan,
            "  icm-api plan claims.toml --latency 0.8\n  icm-api plan claims.toml --compare\n",
        ),
        "runs": Verb(
            "icm_api.cli.looking:runs_verb", "list runs: state, model, size, U, verdict, cost and age", finished.runs
        ),
        "show": Verb("icm_api.cli.looking:show_verb", "print what a run found, or how far it is", running.resume),
        "diff": Verb(
            "icm_api.cli.looking:diff_verb",
            "set two finished runs beside each other: settings, labels, names, U and verdict",
            finished.diff,
        ),
        "evaluate": Verb(
            "icm_api.cli.finished:evaluate_verb", "measure a finished run against gold labels", finished.evaluate
        ),
        "audit": Verb(
            "icm_api.cli.running:audit_verb",
            "count the relations that a configuration's constraints make, and the labelings that they leave",
            configuration,
        ),
        "cache": Verb(
            "icm_api.cli.cache:stats_verb",
            "count, check, delete or export the answers of models that are kept",
            outside.cache,
        ),
        "compare": Verb(
            "icm_api.cli.compare:compare_verb",
            "compare a configuration's search with baselines, given gold labels; repeat it to go on where it stopped",
            running.compare,
        ),
        "export": Verb(
            "icm_api.cli.finished:export_verb",
            "write the labels of a finished run as files for training, tables, data sets",
            finished.export,
            "  icm-api export runs/claims --to openai-sft --split 0.9\n",
        ),
        "train": Verb(
            "icm_api.cli.training:train_verb",
            "fine-tune a model on the labels of a finished run; repeat it to see how far the job is",
            training.train,
            "  icm-api train runs/claims --with together:Qwen/Qwen3-8B-Base --estimate\n"
            "  icm-api train runs/claims --with together:Qwen/Qwen3-8B-Base --follow\n"
            "  icm-api train runs/claims --with huggingface:HuggingFaceTB/SmolLM2-135M\n"
            "  icm-api train runs/helpful --reward --with huggingface:HuggingFaceTB/SmolLM2-135M-Instruct\n"
            "  icm-api train runs/helpful --dpo best.jsonl --with together:Qwen/Qwen3-8B\n",
        ),
        "iterate": Verb(
            "icm_api.cli.training:iterate_verb",
            "label batch by batch, each by a model fine-tuned on the batches before; repeat it to go on",
            training.iterate,
            "  icm-api iterate claims.toml --with huggingface:HuggingFaceTB/SmolLM2-135M     # needs [batches]\n",
        ),
        "queue": Verb(
            "icm_api.cli.queueing:queue_verb",
            "write examples of a finished run to a file, for a person to label: uncertain, sure, or drawn at random",
            finished.queue,
            "  icm-api queue runs/claims --most 20 --out answers.csv\n"
            '  # fill in the column "label"; rows that stay empty are left to the model\n'
            "  ICM_DATA__FIXED=answers.csv icm-api run claims.toml --out runs/claims-2\n",
        ),
        "check": Verb(
            "icm_api.cli.queueing:check_verb",
            "count how many labels drawn at random are right, by a person's answers, and keep that in the run",
            finished.check,
            "  icm-api queue runs/claims --random 20 --blind --out answers.csv\n"
            '  # fill in the column "label" without looking at the labels found\n'
            "  icm-api check runs/claims answers.csv\n",
        ),
        "prefer": Verb(
            "icm_api.cli.rewarding:prefer_verb",
            "say which of two replies is better, a run of preferences as the reward model",
            training.prefer,
            "  icm-api prefer runs/helpful replies.jsonl --out preferred.jsonl\n",
        ),
        "best": Verb(
            "icm_api.cli.rewarding:best_verb",
            "have a model write several replies to each prompt, and pick the best by a run of preferences",
            training.best,
            "  icm-api best runs/helpful prompts.jsonl --model openai:gpt-6-luna --samples 8 --out best.jsonl --to "
            "trl-dpo\n",
        ),
        "rewardbench": Verb(
            "icm_api.cli.rewarding:rewardbench_verb",
            "measure a run of preferences as a reward model, on rows in the format of RewardBench 2",
            training.rewardbench,
            "  icm-api rewardbench runs/helpful hub:allenai/reward-bench-2 --limit 200\n",
        ),
        "report": Verb(
            "icm_api.cli.finished:report_verb",
            "write a finished run as one HTML page: verdict, figures, contested examples, cost",
            finished.report,
            "  icm-api report runs/claims             # runs/claims/report/report.html, and figures as PNG\n"
            "  icm-api report runs/claims --gold gold.jsonl --out claims.html\n",
        ),
        "probe": Verb(
            "icm_api.cli.asking:probe_verb",
            "ask a model endpoint a few questions, and print what it really returns",
            outside.probe,
        ),
        "generate": Verb(
            "icm_api.cli.asking:generate_verb", "have a model write candidate solutions to questions", outside.generate
        ),
        "completion": Verb(
            "icm_api.cli.completion:completion_verb",
            "print a script that has the shell complete verbs and flags",
            outside.completion,
            '  eval "$(icm-api completion bash)"\n',
        ),
    }
)
"""All verbs, in the order in which `--help` lists them."""
