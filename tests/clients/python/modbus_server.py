"""A Modbus server with two devices, 1 and 3, over TCP or a serial line; nobody else answers.

modbus_server.py tcp PORT | rtu PATH
"""

import asyncio
import sys

from pymodbus.framer import FramerType
from pymodbus.server import StartAsyncSerialServer, StartAsyncTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice


def device(unit):
    coils = [SimData(0, values=[False, True], datatype=DataType.BITS)]
    discrete = [SimData(0, values=[True, False, True], datatype=DataType.BITS)]
    holding = [
        SimData(100, values=[217, -5], datatype=DataType.INT16),
        SimData(102, values=21.7, datatype=DataType.FLOAT32),
        SimData(104, values=3_000_000_000, datatype=DataType.UINT32),
        SimData(106, values=-0.125, datatype=DataType.FLOAT64),
    ]
    inputs = [SimData(0, values=1234, datatype=DataType.UINT16)]
    return SimDevice(unit, simdata=(coils, discrete, holding, inputs))


async def main():
    kind, where = sys.argv[1:]
    devices = [device(1), device(3)]

    def trace(sending, data):
        # The library would answer for devices that are not there; on a real line they say nothing.
        unit = data[6 if kind == "tcp" else 0] if data else 0
        return b"" if sending and unit not in (1, 3) else data

    if kind == "tcp":
        await StartAsyncTcpServer(devices, address=("127.0.0.1", int(where)), trace_packet=trace)
    else:
        await StartAsyncSerialServer(
            devices, framer=FramerType.RTU, port=where, baudrate=115200, trace_packet=trace
        )


asyncio.run(main())
