#!/bin/sh
# The example of the library on a real model: example.sh PROGRAM. Exit 77 = the model is not there.
"$1" smollm2 'The capital of France is' > example.out 2> example.err || {
  cat example.err
  grep -q 'models get' example.err && echo 'SKIPPED: smollm2 is not there' && exit 77
  exit 1
}
cat example.out
grep -q Paris example.out
