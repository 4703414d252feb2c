"""The README inside an account's zip, with the ten lines that rank songs by its adapter with stock libraries."""

from __future__ import annotations

from typing import Any

_POOL = {
    "mean": "(h * m).sum(1) / m.sum(1)",
    "cls": "h[:, 0]",
    "last": "h[torch.arange(len(h)), m[..., 0].cumsum(1).argmax(1)]",
}
_SOFT = "((8 * unit(catalogue) @ unit(mine[on]).T).exp() @ (weight[on] / weight[on].sum())).log() / 8"
_RULES = {
    "mean": "scores = unit(catalogue) @ torch.nn.functional.normalize(weight @ unit(mine), dim=0)",
    "interest": f"soft = lambda on: {_SOFT}; "
    "scores = soft(weight > 0) - (0.3 * soft(weight < 0) if (weight < 0).any() else 0)",
}


# 0.5 is app.lm.vocabulary's SONG_SHARE; a test runs these lines and compares.
_WORDS = (
    '; v = load_file("music/vocabulary.safetensors"); step = (v["codes"] * v["scales"][:, None]) @ v["basis"].float(); '
    'words = torch.cat([step + v["middle"], 0.5 * step, 0 * step[:1]])'
)


def ten_lines(*, base: str, music: bool, words: bool, adapter: str, pooling: str, rule: str, max_tokens: int) -> str:
    """Python that prints the twenty songs that fit best. ``adapter`` is a folder in the zip, or empty for the base."""
    network = "tf.AutoModel.from_pretrained(base)"
    if music:
        network = f'peft.PeftModel.from_pretrained({network}, "music").merge_and_unload()'
    tuned = f'peft.PeftModel.from_pretrained(net, "{adapter}").eval()' if adapter else "net"
    tokens = f'padding=True, truncation=True, max_length={max_tokens}, return_tensors="pt"'
    parts = "for i in range(0, len(rows), 64) for t in [batch(rows[i : i + 64])]"
    pooled = "pool(n(**t).last_hidden_state, t['attention_mask'][..., None])"
    load, said = ("; from safetensors.torch import load_file", _WORDS) if words else ("", "")
    if words:
        word = "words[[row.get('word', -1) for row in rows[i : i + 64]]]"
        pooled = f"torch.nn.functional.normalize({pooled} + {word}, dim=-1)"
    return f'''\
import json, peft, torch, transformers as tf{load}; torch.set_grad_enabled(False)
songs, own = ([json.loads(line) for line in open(f, encoding="utf-8")] for f in ("catalogue.jsonl", "own.jsonl")){said}
base = "{base}"; read = tf.AutoTokenizer.from_pretrained(base); net = {network}.eval()
pool = lambda h, m: torch.nn.functional.normalize({_POOL[pooling]}, dim=-1)
batch = lambda rows: read([row["text"] for row in rows], {tokens})
encode = lambda n, rows: torch.cat([{pooled} {parts}])
catalogue = encode(net, songs); mine = encode({tuned}, own); weight = torch.tensor([o["weight"] for o in own])
unit = lambda v: torch.nn.functional.normalize(v - catalogue.mean(0), dim=-1)
{_RULES[rule]}
print(*(f"{{songs[i]['title']}} by {{songs[i]['artist']}}" for i in scores.argsort(descending=True)[:20]), sep="\\n")
'''


def readme(facts: dict[str, Any], code: str) -> str:
    """The whole README. facts: as account.json has them."""
    base = facts["base"]
    versions = "\n".join(
        f"- `{v['folder']}/`: version {v['number']}, {'promoted' if v['promoted'] else 'not promoted'}"
        f"{', the one that answers' if v['live'] else ''}; learnt from {v['learnt_from']} songs"
        for v in facts["versions"]
    )
    return f"""# An Earshot account

Everything that Earshot kept of one listener. Import this zip on another Earshot to go on there: listens, words on songs
and picks come along, and the adapters too where the base is the same.

| file | what |
|---|---|
| `listens.jsonl` | every play, in ListenBrainz' shape; what that has no place for is in `additional_info.earshot` |
| `listens.csv` | the same as a table; cells that a spreadsheet would run have an apostrophe before them |
| `feedback.jsonl` | what was said of songs: love, dislike, not now, known |
| `playlists/`, `lists.jsonl` | playlists as JSPF; every list that was asked for, and what was shown |
| `account.json` | who, which base, picks, hidden artists, playlists, and what each version did |
| `adapters/` | each version as plain PEFT files: `adapter_model.safetensors`, `adapter_config.json`, and its card |
| `music/` | the music adapter that is folded into the base before any adapter of a listener's, and its words |
| `rows/` | every row that the database has of the listener, a file for each table; passwords and tokens are not in it |
| `own.jsonl`, `catalogue.jsonl` | what the model reads: the listener's songs with their weights, and all songs |

Base: `{base["name"]}`, weights sha256 `{base["weights_sha256"]}`. Fingerprint of the base with its music adapter and
settings: `{base["fingerprint"]}`. An adapter means something on that base only.

Versions:
{versions or "none yet; the base answers"}

## Rank songs without Earshot

In this folder, with `pip install torch transformers peft` and nothing else. `base` may be a folder with the base's
files. Where Earshot reads its catalogue in bfloat16, songs of nearly the same score may stand in another order here.

```python
{code}```
"""
