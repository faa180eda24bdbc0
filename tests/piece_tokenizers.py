"""Tokenizers that cut words into pieces: WordPiece as BERT has it, and byte-level BPE as RoBERTa has it."""

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def _wrap(core, **options):
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", **{"model_max_length": 64, **options},
    )  # fmt: skip


def make_word_piece_tokenizer(whole=(), **options):
    """BERT's: lower case, accents and control characters stripped, continuation pieces begin with ##.

    Every word in letters and digits can be written, all others are [UNK]. `whole` are words of one piece.
    """
    pieces = [*LETTERS, "-", ".", ",", "'", *(f"##{letter}" for letter in LETTERS), "##ing", "ab", "##cd", *whole]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*SPECIAL, *pieces]))}
    core = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    return _wrap(core, **options)


def make_byte_tokenizer(texts=("in rome ada wrote a letter to tom",), *, trim_offsets=True, **options):
    """RoBERTa's: bytes merged into pieces, the first of a word holds the space before it."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=trim_offsets)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    tokenizer = _wrap(core, **options)
    if not trim_offsets:
        return tokenizer
    core.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2), add_prefix_space=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", **{"model_max_length": 64, **options},
    )  # fmt: skip
