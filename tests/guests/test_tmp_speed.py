import pytest, time
from .conftest import Stand
pytestmark = [pytest.mark.qemu, pytest.mark.root]
@pytest.mark.parametrize("mb",[50,100])
def test_a(stand: Stand, mb):
    t=time.time(); stand.run(stand.from_guest(mb)); print("from",mb,time.time()-t, stand.network.clients['nic'].counters)
    t=time.time(); stand.run(stand.to_guest(mb)); print("to",mb,time.time()-t)
    print(stand.run(stand.guest.check("cat /proc/interrupts | grep eth; ethtool -S eth0; ifconfig eth0; dmesg | tail -5")))
