#!/usr/bin/env node
// Runs the command that the command line names; the only file that touches `process`.
import { readFileSync } from 'node:fs'
import { type Command, readCommand, usage } from './lib/config/command.ts'
import { describeConfig, readClientConfig, readConfig } from './lib/config/config.ts'
import { settingsHelp } from './lib/config/settings.ts'
import { reportFault } from './lib/fault.ts'
import { openHost } from './lib/system/host.ts'

const host = openHost(process)
try {
  await run(readCommand(host.args))
} catch (error) {
  process.exitCode = reportFault(error, host)
}

async function run(command: Command) {
  switch (command.name) {
    case 'help':
      return host.print(`${usage}\n${settingsHelp()}`)
    case 'version':
      return host.print(`pg-health ${version()}\n`)
    case 'check-config':
      return host.print(describeConfig(config()))
    case 'check': {
      // Imported by its command only: `check` runs every few seconds in a container.
      const { check } = await import('./lib/client/check.ts')
      process.exitCode = await check(command, readClientConfig(host.env), host)
      return
    }
    case 'serve': {
      const { serve } = await import('./lib/serve.ts')
      return serve(config(), host, version())
    }
  }
}

function config() {
  return readConfig(host.env, host.readTextFile, host.userName())
}

/** package.json is beside server.ts in a checkout, and above dist/server.js in the package. */
function version(): string {
  const path = import.meta.url.endsWith('.ts') ? './package.json' : '../package.json'
  return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version
}
