import asyncio, json, sys, websockets

async def main(url):
    async for link in websockets.connect(url):              # connects again when it ends
        try:
            while True:
                message = json.loads(await asyncio.wait_for(link.recv(), 2))
                if message["type"] == "telemetry":
                    data = message["data"]
                    print(data["mission_status"], data["battery_level"], data["age"]["battery_level"], flush=True)
        except (websockets.ConnectionClosed, asyncio.TimeoutError):
            continue

asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8080/telemetry"))
