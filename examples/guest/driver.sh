# A driver of ringnic for one question, in the guest's shell: who has 10.0.2.15? Registers and memory are reached through
# /dev/mem; "memmap=64K$0x8000000" keeps that memory from Linux. uio_pci_generic makes the interrupt readable.
device=/sys/bus/pci/devices/0000:00:02.0
tx=0x8000000 rx=0x8001000 sent=0x8002000 got=0x8003000

put() { printf "$3" | dd of=$1 bs=1 seek=$(($2)) conv=notrunc 2>&-; }
register() { devmem $((bar + $1)) ${3:-32} $2; }

echo 1234 4e52 >/sys/bus/pci/drivers/uio_pci_generic/new_id
put $device/config 4 '\007' # I/O, memory, bus master
read -r bar _ <$device/resource
exec 3</dev/uio0 # counts interrupts from now on
echo "ID $(register 0x00)"

# Ethernet and ARP: 10.0.2.16 at 52:54:00:00:00:01 asks all.
put /dev/mem $sent '\377\377\377\377\377\377RT\0\0\0\001\010\006\0\001\010\0\006\004\0\001'
put /dev/mem $((sent + 22)) 'RT\0\0\0\001\012\0\002\020\0\0\0\0\0\0\012\0\002\017'
devmem $tx 64 $sent # a descriptor: address and size of a buffer
devmem $((tx + 8)) 64 42
devmem $rx 64 $got
devmem $((rx + 8)) 64 2048

register 0x04 4 # CONTROL: RESET
register 0x10 0x010000005452 64 # MAC
register 0x20 $tx 64
register 0x30 $rx 64
register 0x0C 1 # MASK: RX
register 0x04 3 # CONTROL: RX, TX
register 0x38 1 # RX_TAIL: one empty buffer
register 0x28 1 # TX_TAIL: one frame to send
dd bs=4 count=1 <&3 >&- 2>&- # until the interrupt
echo "STATUS $(register 0x08), received $(devmem $((rx + 12)))"
dd if=/dev/mem bs=1 skip=$((got + 22)) count=6 2>&- | hexdump -e '"10.0.2.15 is at " 6/1 "%02x " "\n"'
register 0x08 3 # STATUS: seen
grep uio /proc/interrupts
