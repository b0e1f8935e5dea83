#!/bin/sh
# Never answers; leaves its process id in the file that PEER_PID names.
echo $$ > "$PEER_PID"
exec sleep 600
