"""Runs trials, one a line of standard input, and answers each with a line: started by pool.py.

PyTorch, tokenizer, data and pretrained model load once; each trial trains a copy of the model. The process
ends with its input, also when the one that started it is gone.
"""

from __future__ import annotations

import json
import sys
import traceback

from run_trial import Stock, run_trial
from trial import Trial


def main() -> None:
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever a library prints must not be taken for an answer
    stock = Stock()
    for line in sys.stdin:
        try:
            answer = {"result": run_trial(Trial.read(line), stock)}
        except Exception as error:  # told to the user by pool.py, and the program fails at its end
            traceback.print_exc()
            answer = {"failure": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
