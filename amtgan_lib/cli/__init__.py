"""Every command of `python -m amtgan_lib`; `amtgan_lib.__main__` lists them and calls one."""
