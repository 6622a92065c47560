#!/bin/sh
# An exam's report for a look at it in a browser: exam.sh SNELLEN FOLDER. Exit 77 = no model.
"$1" checkup smollm2 --budget 1 -o "$2" --db '' -q 2> exam.err && exit 0
cat exam.err
grep -q 'models get' exam.err && echo 'SKIPPED: smollm2 is not there' && exit 77
exit 1
