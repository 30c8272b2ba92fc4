"""Stage boot: the modules of an image are loaded on their own kernel, in a virtual machine with Secure Boot on."""
