#!/bin/sh
# qemu.sh SOCKET ADDRESS ARGUMENT...: boots script/get-guest's guest on the NIC behind a socket.
guest=$("$ETHERLOOM/script/get-guest" --print)
socket=$1 address=$2
shift 2
exec "$("$ETHERLOOM/script/get-qemu" --print)" -nodefaults -display none -m 256M \
  -object memory-backend-memfd,id=ram,size=256M,share=on -machine pc,memory-backend=ram \
  -device '{"driver": "vfio-user-pci", "socket": {"type": "unix", "path": "'"$socket"'"}, "rombar": 0}' \
  -kernel "$guest/kernel" -initrd "$guest/initrd" -append "console=ttyS0 quiet ip=$address" "$@"
