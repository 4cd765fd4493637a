"""Scores of sacrebleu that `pema_core::metrics` must reproduce.

    pip install 'sacrebleu>=2,<3' && python make_metric_samples.py

Writes metrics.json beside this script. The sentences are this project's own.
"""
import json
import pathlib

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

# (output, reference); the groups below name lines by their place in this list.
PAIRS = [
    # close to the reference
    ("I would appreciate it if you could send the report by Friday.",
     "I would be grateful if you could send me the report by Friday."),
    ("Could you please let me know whether the meeting is still on?",
     "Could you kindly confirm whether the meeting will still take place?"),
    ("We regret to inform you that the order has been delayed.",
     "We regret to inform you that your order has been delayed."),
    ("Thank you for your patience, and please accept our apologies.",
     "Thank you for your patience; please accept our sincere apologies."),
    # identical
    ("Please find the invoice attached.", "Please find the invoice attached."),
    ("It was a pleasure to meet you yesterday.", "It was a pleasure to meet you yesterday."),
    # numbers, dates, prices
    ("The total is $1,234.56, due on 2024-03-15 at 10:30.",
     "The total amounts to $1,234.56 and is due on 2024-03-15 at 10.30."),
    ("Version 3.1.4 fixes 12-15 bugs (about 7.5% of all).",
     "Version 3.1.4 fixes 12-15 bugs, i.e. 7,5 % of them."),
    ("Call 555-0199, ext. 42.", "Please call 555-0199 (ext. 42)."),
    # punctuation, quotes, entities, e-mail
    ('She said: "That\'s fine, isn\'t it?"', 'She replied, "That is fine, is it not?"'),
    ("R&amp;D asked for &quot;more time&quot; &lt;again&gt;.", 'R&D asked for "more time" <again>.'),
    ("Well... no/yes; maybe -- who knows?!", "Well, no / yes; perhaps - who knows?"),
    ("Write to anna_k@example.org, [urgent] {today}.", "Please write to anna_k@example.org [urgent], {today}."),
    ("state-of-the-art well-known re-entry", "a state-of-the-art, well known re-entry"),
    # German, with umlauts
    ("Könnten Sie mir bitte die Schlüssel geben?", "Würden Sie mir bitte den Schlüssel geben?"),
    ("Haben Sie schon über unsere größeren Pläne gehört?", "Haben Sie bereits von unseren größeren Plänen gehört?"),
    ("Das Geschäft schließt um 18:00 Uhr.", "Das Geschäft schließt um 18 Uhr."),
    # other scripts, combining marks, typographic quotes, emoji
    ("“Merci beaucoup”, dit-il – à bientôt…", "« Merci beaucoup », dit-il — à bientôt…"),
    ("ご連絡ありがとうございます。", "ご連絡いただきありがとうございます。"),
    ("Спасибо за ваш ответ.", "Благодарю вас за ваш ответ."),
    ("cafe\u0301 naïve 😀👍🏽", "café naïve 😀👍"),
    ("non\u00a0breaking and\u2009thin space", "non breaking and thin space"),
    # white space and line ends
    ("  two   spaces \t and a tab  ", "two spaces and a tab"),
    ("line one\nline two-\nbroken", "line one line twobroken"),
    # empty and short
    ("", "There should have been an answer."),
    ("Yes.", "Yes."),
    ("No", "Yes"),
    ("ok", "All right."),
    ("Thanks a lot!", "Thank you."),
    # nothing in common, repetition, too long, case
    ("qqq zzz xxx", "A wholly different sentence."),
    ("the the the the the the", "the cat sat on the mat"),
    ("I am writing to you today in order to ask you whether you might possibly be able to help me.",
     "I am writing to ask for your help."),
    ("PLEASE DO NOT SHOUT", "Please do not shout"),
    ("<skipped> A line that was skipped", "A line that was skipped"),
]

SUBSETS = {
    "all": range(len(PAIRS)),
    "close": range(0, 4),
    "identical": [4, 5],
    "numbers": [6, 7, 8],
    "punctuation": range(9, 14),
    "german": [14, 15, 16],
    "scripts": range(17, 22),
    "spaces": [22, 23],
    "empty alone": [24],
    "one short pair": [25],
    "short": range(24, 29),
    "no overlap": [29],
    "repetition": [30],
    "too long": [31],
    "case": [32],
    "skipped": [33],
    "even lines": range(0, len(PAIRS), 2),
    "odd lines": range(1, len(PAIRS), 2),
    "single close line": [2],
}


def scores(lines):
    outputs = [PAIRS[i][0] for i in lines]
    references = [[PAIRS[i][1] for i in lines]]
    return {
        "bleu": BLEU().corpus_score(outputs, references).score,
        "chrf": CHRF().corpus_score(outputs, references).score,
    }


sample = {
    "made_by": "make_metric_samples.py",
    "sacrebleu": sacrebleu.__version__,
    "outputs": [output for output, _ in PAIRS],
    "references": [reference for _, reference in PAIRS],
    "subsets": [{"name": name, "lines": list(lines), **scores(lines)} for name, lines in SUBSETS.items()],
}
path = pathlib.Path(__file__).with_name("metrics.json")
path.write_text(json.dumps(sample, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
