import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { runScript } from './script-runner.js';

/** CAIRN_REWRITE=1 writes what the cores say into the scripts; read the difference before it is committed. */
const REWRITE = process.env.CAIRN_REWRITE === '1';
const FOLDER = path.join(process.cwd(), 'test/data/raft');

for (const name of readdirSync(FOLDER).sort()) {
  const file = path.join(FOLDER, name);
  const text = readFileSync(file, 'utf8');
  test(text.split('\n')[0]!.replace(/^# /, ''), () => {
    const said = runScript(text);
    if (REWRITE) writeFileSync(file, said);
    else assert.equal(said, text, `${name}; CAIRN_REWRITE=1 rewrites it`);
  });
}
