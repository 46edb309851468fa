"""The fairseq model `weam`: `WordExchange` with a masked LM of transformers."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from weam_fairseq.common.documents import parse_json, read_json
from weam_fairseq.common.errors import InputError
from weam_fairseq.encoder.configs import OLD_CHECKPOINT, difference_of, parse_config, plain_config, set_dropout
from weam_fairseq.encoder.huggingface import build, longest_sequence, skeleton
from weam_fairseq.encoder.sizes import ARCHITECTURES, OPTIONS, PUBLISHED, config_of, overridden
from weam_fairseq.method.modeling import Predicted, WordExchange
from weam_fairseq.method.options import ModelOptions, add_arguments
from weam_fairseq.method.word_exchange import Exchange

logger = logging.getLogger(__name__)

MASKED_LM, OWN_HEAD = "masked_lm.", "own_head."
UNLIMITED = 1 << 30  # pieces, if a model has no limit on positions
# Tensor names of older versions, which had their own encoder.
_OLD = ("encoder.embeddings.", "encoder.layers.")


@register_model("weam")
class WeamModel(WordExchange, BaseFairseqModel):  # type: ignore[misc]
    """A masked LM that also predicts masked rows from exchanged representations.

    Args:
        model: a model of a transformers class with a masked-LM head.
        pieces_sha256, behaviour_sha256: hexadecimal digests of the tokenizer (preprocess/README.md).
        options: options of `WordExchange`.
    """

    names_tied_twice = True

    pieces_sha256: Tensor
    behaviour_sha256: Tensor
    published: Tensor
    head_is_new: Tensor

    def __init__(
        self, model: Any, pieces_sha256: str, behaviour_sha256: str, *, head_first: int = 0, **options: Any
    ) -> None:
        super().__init__(model, **options)
        self.head_first = head_first
        # Stored with the weights that depend on them, as bytes.
        self.register_buffer("pieces_sha256", _bytes_of(pieces_sha256))
        self.register_buffer("behaviour_sha256", _bytes_of(behaviour_sha256))
        # The rest of a published folder (encoder/published.py). As bytes it stays unchanged in every training, even in
        # half precision. Empty: trained from scratch.
        self.register_buffer("published", torch.empty(0, dtype=torch.uint8))
        # 1: the published folder had no head, and none has been fitted yet (new_head.py).
        self.register_buffer("head_is_new", torch.zeros(1, dtype=torch.uint8))

    @staticmethod
    def add_args(parser: Any) -> None:
        add_arguments(parser, ModelOptions)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "WeamModel":
        config = _config(args, task)
        # Saved in every checkpoint, so that the shape is known without loading the weights.
        args.encoder_config = json.dumps(plain_config(config), sort_keys=True)
        set_dropout(config, args.dropout, args.attention_dropout)
        vocabulary, policy = task.vocabulary, task.policy
        masked_lm = build(config, "The encoder")
        rows = masked_lm.get_input_embeddings().weight.shape[0]
        if rows < len(vocabulary):
            raise InputError(
                f"The model must have a row for each of the {len(vocabulary):,} pieces of {task.cfg.data}, but has "
                f"{rows:,}. Preprocess with the tokenizer of the model."
            )
        used = 1 if policy.one_segment else vocabulary.segments()
        segments = getattr(config, "type_vocab_size", 0) or 0
        if 0 < segments < used:
            raise InputError(
                f"The tokenizer of {task.cfg.data} writes pairs with {used} segment ids, but the model has {segments}. "
                "Train with --segment-ids zero, or use the tokenizer of the model."
            )
        if args.checkpoint_activations:
            if not masked_lm.supports_gradient_checkpointing:
                raise InputError(
                    "--checkpoint-activations needs a model that supports gradient checkpointing, but "
                    f"{type(masked_lm).__name__} does not."
                )
            masked_lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model = cls(
            masked_lm,
            vocabulary.pieces_sha256,
            vocabulary.behaviour_sha256,
            # Without a second loss, only weight decay would change a separate head.
            cp_head=policy.cp_head if policy.trains.has_second_loss else "shared",
            freeze=args.freeze,
            head_first=args.head_first,
            reset_positions=policy.reset_positions,
        )
        logger.info(
            "%s: logits of single rows differ from the full model's by %.1e of the largest; %s",
            type(masked_lm).__name__,
            model.difference,
            model.parts.describe(),
        )
        if not model.predictor.stops_before_projection:
            logger.warning(
                "%s applies further operations after its output projection, so the loss cannot be computed in parts. "
                "Training takes more memory and time.",
                type(masked_lm).__name__,
            )
        return model

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Loads the weights of a checkpoint of the task 'weam' or of weam-from-hf with this shape and tokenizer.

        Raises:
            InputError: the checkpoint is of an older version, or its tokenizer or shape differs.
        """
        state = dict(state_dict)
        if any(name.startswith(_OLD) for name in state):
            raise InputError(OLD_CHECKPOINT.format(where="The checkpoint"))
        self._check_tokenizer(state)
        self._check_shape(state)
        state.setdefault("head_is_new", torch.zeros_like(self.head_is_new))
        if "published" in state:
            self._check_config(state["published"])
            self.published = state["published"].to(self.pieces_sha256.device)
        second = [name for name in state if name.startswith(OWN_HEAD)]
        if self.own_head is not None and not second:
            logger.info("the head of L_cp starts as a copy of that of L_mp")
            names = (name for name in self.state_dict() if name.startswith(OWN_HEAD))
            state |= {name: state[MASKED_LM + name.removeprefix(OWN_HEAD)] for name in names}
        if self.own_head is None and second:
            logger.warning(
                f"the checkpoint's head of L_cp ({len(second)} tensors) is left out, because this run shares one head"
            )
            state = {name: value for name, value in state.items() if name not in second}
        return super().load_state_dict(state, *args, **kwargs)

    def missing(self) -> list[str]:
        """Returns the names of the masked LM's parameters that the published folder lacked."""
        from weam_fairseq.encoder.published import unpack

        origin = unpack(self.published)
        return [] if origin is None else list(origin.about["missing"])

    def _check_tokenizer(self, state: dict[str, Any]) -> None:
        for name, difference in (
            ("pieces_sha256", "their pieces differ"),
            ("behaviour_sha256", "they split the same text differently (casing or normalization)"),
        ):
            digest = state.get(name)
            if digest is not None and not torch.equal(digest.cpu(), getattr(self, name).cpu()):
                raise InputError(
                    f"The checkpoint and the data-bin must have the same tokenizer, but {difference}. Make the "
                    "data-bin with weam-preprocess --tokenizer and the folder that the checkpoint was imported from."
                )

    def _check_shape(self, state: dict[str, Any]) -> None:
        own = self.state_dict()
        shared = [name for name in own if name.startswith(MASKED_LM)]
        missing = [name for name in shared if name not in state]
        unexpected = [name for name in state if name not in own and not name.startswith(OWN_HEAD)]
        other_shape = [name for name in shared if name in state and state[name].shape != own[name].shape]
        if missing or unexpected or other_shape:
            name = (missing + unexpected + other_shape)[0]
            saved_shape = tuple(state[name].shape) if name in state else "missing"
            own_shape = tuple(own[name].shape) if name in own else "missing"
            raise InputError(
                f"The checkpoint must have the shape of the model, but {len(missing + unexpected + other_shape)} "
                f"tensors differ. The first is {name}: {saved_shape} in the checkpoint, {own_shape} in the model. "
                "Leave --arch out, and weam-train uses the checkpoint's shape."
            )

    def _check_config(self, packed: Tensor) -> None:
        """Compares the configs, because tensors of the same shape can need another activation or epsilon."""
        from weam_fairseq.encoder.published import unpack

        origin = unpack(packed)
        if origin is None:
            return
        config = parse_config(parse_json(origin.files["config.json"], "config.json of the checkpoint", dict))
        difference = difference_of(config, self.masked_lm.config)
        if difference is not None:
            raise InputError(
                f"The checkpoint must have the config of the model, but {difference} (checkpoint, then model). Leave "
                "--arch out, and weam-train uses the checkpoint's config."
            )

    def forward(  # type: ignore[override]
        self,
        tokens: Tensor,
        attention_mask: Tensor,
        segments: Tensor,
        positions: Tensor | None = None,
        masked_rows: Tensor | None = None,
        exchange: Exchange | None = None,
        target: Tensor | None = None,
        cp_weight: float = 1.0,
    ) -> Predicted:
        """Encodes, exchanges, and projects only the rows that a loss needs.

        Args:
            tokens, attention_mask, segments, positions: (B, T), see batch.py.
            masked_rows: (N,) rows of the flattened batch to predict.
            exchange: edges into the masked rows; None: no second prediction.
            target: (N,) the pieces to predict.
            cp_weight: λ, the weight of the second prediction in the loss.
        """
        assert masked_rows is not None
        assert target is not None
        states = self.states(tokens, attention_mask, segments, positions)
        # fairseq turns named tuples into plain tuples when it moves a batch to a device.
        exchange = None if exchange is None else Exchange(*exchange)
        return self.predict(states, masked_rows, exchange, target, cp_weight)

    def set_num_updates(self, num_updates: int) -> None:
        """Unfreezes the encoder after the first --head-first updates.

        fairseq calls this before every update, with the number of updates made so far.
        """
        super().set_num_updates(num_updates)
        if self.head_first and self.freeze != "encoder":
            self.head_only = num_updates < self.head_first
            self.base.requires_grad_(True)
            self._set_gradients()
            self.base.train(self.training and not self.head_only)

    def max_positions(self) -> int:
        return longest_sequence(self.masked_lm) or UNLIMITED


def longest_pair(args: Any, task: Any) -> int:
    """Returns how many pieces a pair can have in the model of these options. Does not allocate the model."""
    return longest_sequence(skeleton(_config(args, task), "The encoder")) or UNLIMITED


def _config(args: Any, task: Any) -> Any:
    """Builds the config of the encoder that the options describe."""
    given = args.encoder_config
    named = [name for name in OPTIONS if getattr(args, name, None) is not None]
    if args.arch == PUBLISHED or (given and given.lstrip().startswith("{")):
        if not given:
            raise InputError(
                f"--arch {PUBLISHED} needs --encoder-config FILE (a config.json), or weam-train --finetune-from-model "
                "with a checkpoint, but neither is given."
            )
        if given.lstrip().startswith("{"):
            return parse_config(parse_json(given.encode(), "the checkpoint's config", dict))
        if named:
            raise InputError(f"Remove --{named[0].replace('_', '-')}: --encoder-config {given} defines the shape.")
        config = parse_config(read_json(Path(given), dict), given)
        pad = task.manifest["tokenizer"]["special_ids"]["pad"]
        if config.pad_token_id not in (None, pad):
            raise InputError(
                f"{given} must have the tokenizer's `pad_token_id`, which is {pad}, but has {config.pad_token_id}."
            )
        return config
    if given:
        raise InputError(f"--encoder-config must go with --arch {PUBLISHED}, but --arch is {args.arch}.")
    special = task.manifest["tokenizer"]["special_ids"]
    return config_of(overridden(ARCHITECTURES[args.arch], args), len(task.vocabulary), special)


def _bytes_of(hexadecimal: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(hexadecimal)), dtype=torch.uint8)


def _set_defaults(args: Any) -> None:
    """Sets missing options to their defaults. build_model looks the size up, because it depends on the tokenizer."""
    for name in ("encoder_config", *OPTIONS, "dropout", "attention_dropout"):
        setattr(args, name, getattr(args, name, None))
    args.freeze = getattr(args, "freeze", "none")
    args.head_first = getattr(args, "head_first", 0)
    args.checkpoint_activations = getattr(args, "checkpoint_activations", False)


for _name in (*ARCHITECTURES, PUBLISHED):
    register_model_architecture("weam", _name)(_set_defaults)
