import time, json
from lab.conda_bad import bad_packages
from lab.conda_channel import add
from lab.conda_packages import Package, script
from faulty import *
from lab import conda_asks
from lab.conda_index import edit_record
def test_it(start, site, tmp_path, calm):
    t=time.time()
    n=start()
    print("start", time.time()-t); t=time.time()
    print(n.digest("parts"), time.time()-t); t=time.time()
    print(n.digest("one"), time.time()-t); t=time.time()
    bad=bad_packages(tmp_path/"bad", bomb_bytes=20_000_000)
    add(tmp_path/"bad", Package("python", version="3.12.1", files={"bin/python3.12": script("#!/bin/sh\n")})) if 0 else None
    print("bad", time.time()-t); t=time.time()
    site.server.channels["bad"]=tmp_path/"bad"
    for name in bad:
        r=n.pull(name, channels=("bad","conda-forge"))
        if r.status==200: print(name, 200); continue
        if bad[name].why=="escape": continue
        print(name, bad[name].why, r.status, r.body.decode()[:300])
    print("all bad", time.time()-t); t=time.time()
    print(n.leftovers())
    edit_record(tmp_path/"bad", "wrong-sha256-1.0-h0_0.conda", sha256=__import__("hashlib").sha256(bad["wrong-sha256"].path.read_bytes()).hexdigest())
    time.sleep(6)
    r=n.pull("wrong-sha256", channels=("bad","conda-forge")); print(r.status, r.body[:300])
    a=conda_asks.ask(n.daemon, "wrong-sha256", channels=("bad","conda-forge")); print(a, conda_asks.status(n.daemon,a["requestId"]))
    print(n.processes(), n.processes(WORKER) if 0 else "")
