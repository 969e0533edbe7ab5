"""`python -m sim --seed N` plays one world and prints its story; `--seeds A..B` plays many and prints what went wrong.

With PYTHONPATH=tests. Starts itself anew with a fixed hash seed: then equal seeds give equal stories.
"""

import os
import sys


def main() -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m sim")
    parser.add_argument("--seed", type=int, help="play this one and print its story")
    parser.add_argument("--seeds", default="0..99", help="play these, A..B")
    parser.add_argument("--for-s", type=float, default=0.0, help="begin no further one after so many true seconds")
    parser.add_argument("--trace", action="store_true", help="print the hash of each story")
    parser.add_argument("--broken", choices=["drain"], help="with this part of the product broken, which must be seen")
    arguments = parser.parse_args()

    from sim import setup

    with setup.house() as house:
        if arguments.broken:
            setup.break_product(arguments.broken)
        if arguments.seed is not None:
            outcome = house.play(arguments.seed, print_story=not arguments.trace)
            print(f"seed {outcome.seed}: {outcome.virtual_s:.0f} s in {outcome.true_s:.2f} s, trace {outcome.trace}")
            for what in outcome.wrong:
                print(f"WRONG: {what}")
            return 1 if outcome.wrong else 0
        first, _, last = arguments.seeds.partition("..")
        return house.play_many(
            range(int(first), int(last or first) + 1), for_s=arguments.for_s, print_traces=arguments.trace
        )


if __name__ == "__main__":
    if "PYTHONHASHSEED" not in os.environ:
        os.execve(  # noqa: S606 - this very program
            sys.executable, [sys.executable, "-m", "sim", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"}
        )
    sys.exit(main())
