/** The bytes of a body; null if there are more than `max`, of which no more is taken in. */
export async function read(message: Request | Response, max: number): Promise<Uint8Array<ArrayBuffer> | null> {
  if (Number(message.headers.get("content-length")) > max) return null;
  let whole = new Uint8Array(0);
  const reader = message.body?.getReader();
  for (let next = await reader?.read(); next && !next.done; next = await reader?.read()) {
    if (whole.length + next.value.length > max) {
      await reader?.cancel();
      return null;
    }
    const longer = new Uint8Array(whole.length + next.value.length);
    longer.set(whole);
    longer.set(next.value, whole.length);
    whole = longer;
  }
  return whole;
}
