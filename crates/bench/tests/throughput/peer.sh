#!/bin/sh
# Speaks the protocol of peers.py: called as `peer.sh -c SCRIPT THREADS`.
echo "hello fake 1.0 with $3 threads"
while read -r command name rest; do
    case "$command $name" in
        "load "*) echo "ready 128 pytorch onnxruntime-int8" ;;
        "load_file "*) [ -f "$rest" ] && echo "ready 1 onnxruntime" ;;
        "time pytorch") echo 50.0 ;;
        "time onnxruntime"|"time onnxruntime-int8") echo 2e2 ;;
        *) echo "error KeyError: '$name'" ;;
    esac
done
