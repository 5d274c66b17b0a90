// Loses every packet to and from one port of this machine while a test wants it.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { TestContext } from 'node:test'
import { findTool, isRequired } from './tools.ts'

/** iptables on loopback; undefined, and the test skipped, where it can't be used: it needs root. */
export function findPacketLoss(t: TestContext) {
  const iptables = findTool(t, 'iptables')
  if (iptables === undefined) return undefined
  const { status, stderr } = spawnSync(iptables, ['-w', '-S', 'INPUT'], { encoding: 'utf8' })
  if (status === 0) return { lose: (port: number) => lose(t, iptables, port) }
  if (isRequired('tools') && process.getuid?.() === 0) throw new Error(stderr)
  t.skip(`losing packets needs root: ${stderr.trim()}`)
  return undefined
}

/** Resolves when packets get lost. A shell removes the rules when this process ends, for whatever reason. */
async function lose(t: TestContext, iptables: string, port: number): Promise<{ stop(): Promise<void> }> {
  const script = `
    rules() { for way in sport dport; do "$1" -w "$2" INPUT -i lo -p tcp "--$way" "$3" -j DROP || exit 1; done; }
    rules "$1" -I "$2"; echo lost; cat; rules "$1" -D "$2"
  `
  const shell = spawn('/bin/sh', ['-c', script, 'lose', iptables, `${port}`], {
    detached: true,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(shell, 'exit')
  const stop = async () => {
    shell.stdin.end()
    await ended
  }
  t.after(stop)
  await Promise.race([once(shell.stdout, 'data'), ended])
  return { stop }
}

/** A port of loopback that nothing listens on at this moment. */
export async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  await new Promise(resolve => listener.close(resolve))
  return port
}
