#!/bin/sh
# Dies at the first measurement.
echo "hello fake"
read -r line
echo "ready 16 pytorch"
read -r line
printf 'Traceback\nout of memory\n\n' >&2
exit 3
