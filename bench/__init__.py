"""What Etherloom does beside QEMU, vde_switch, a kernel bridge and a bare C loop: see `docs/benchmarks.md`."""
