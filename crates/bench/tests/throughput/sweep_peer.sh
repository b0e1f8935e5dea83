#!/bin/sh
# Speaks the protocol of sweeps/peer.py: called as `sweep_peer.sh -c SCRIPT THREADS`. A cell's hits are its bits.
echo "hello fake 2.0 with $3 threads"
while read -r command name rest; do
    case "$command" in
        load)
            for file in tensors.txt tensors.bin images.bin labels.bin calibration.bin shape.txt; do
                [ -f "$rest/$file" ] || { echo "error no $file"; exit 1; }
            done
            [ "$name" = cifar-resnet20 ] && [ "$(cat "$rest/shape.txt")" = "3 32 32" ] || { echo "error $name"; exit 1; }
            # 64 images of 3072 numbers, and a name and its extents for each tensor.
            [ "$(wc -c < "$rest/images.bin")" -eq 786432 ] || { echo "error images"; exit 1; }
            [ "$(wc -c < "$rest/labels.bin")" -eq 512 ] || { echo "error labels"; exit 1; }
            grep -q '^conv1.weight 16 3 3 3$' "$rest/tensors.txt" || { echo "error tensors"; exit 1; }
            echo ready ;;
        cell)
            case "$name $rest" in
                *"method=float"*) echo 32 ;;
                *"method=linear"*"weights_bits=8"* | *"weights_bits=8"*"method=linear"*) echo 8 ;;
                *) echo "error ValueError: $name" ;;
            esac ;;
    esac
done
