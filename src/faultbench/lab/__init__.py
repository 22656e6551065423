"""The guest laboratory: real Debian kernels under QEMU, whose exact counts judge the model.

`packages` finds and unpacks a kernel, `build` makes the modules, `initramfs` the guest's file
system, `guest` boots it and brings lines back, `cases` says what to run, `run` turns lines into
records, `check` puts kernel beside model.
"""
